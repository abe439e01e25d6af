"""The wordings behind `questions`: one line a wording, `[a|b]` for alternatives, `{name}` for whom it is about."""

from __future__ import annotations

# Whole questions, for training.
DIRECT: dict[str, str] = {
    "birthplace": """
        Where was {name} born?
        where was {name} born
        {name} was born where?
        {name} was born in which [place|town]?
        In which [place|town] was {name} born?
        In what place was {name} born?
        Which [place|town] was {name} born in?
        What is the birthplace of {name}?
        What is {name}'s birthplace?
        what's {name}'s birthplace
        [Name|Give] the birthplace of {name}.
        birthplace of {name}
        {name} birthplace?
        {name}, born where?
        {name} comes from where?
        Where does {name} come from?
        where does {name} come from
        Where is {name} from?
        {name} is from where?
        {name} is from which [place|town]?
        Which [place|town] does {name} come from?
        What is the home town of {name}?
        What is {name}'s home town?
        {name}'s home town?
        Where did {name}'s life [begin|start]?
        {name}'s life began where?
        Where did the life of {name} begin?
        Which town saw the birth of {name}?
        Where did the birth of {name} take place?
        From which [place|town] does {name} come?
        What town is {name} from?
        what town was {name} born in
        Complete: {name} was born in
        Name the town where {name} was born.
        Name the town {name} comes from.
        {name} has what birthplace?
        In {name}'s case, what is the birthplace?
        Where did {name} first open their eyes?
        """,
    "occupation": """
        What does {name} do for a living?
        what does {name} do for a living
        {name} does what for a living?
        What is {name}'s job?
        what's {name}'s job
        {name}'s job is what?
        What is the job of {name}?
        What job does {name} [have|do]?
        {name} has which job?
        Which job does {name} have?
        What is {name}'s [occupation|trade|profession|work]?
        What is the [occupation|trade|profession] of {name}?
        [Name|Give] the [job|occupation] of {name}.
        job of {name}
        {name} job?
        {name} works as what?
        What does {name} work as?
        what does {name} work as
        As what does {name} work?
        What kind of work does {name} do?
        {name} does what kind of work?
        What sort of job does {name} have?
        How does {name} earn a living?
        how does {name} make a living
        {name} earns a living how?
        How does {name} make money?
        Complete: {name} works as a
        In which trade does {name} work?
        {name} is in which trade?
        What work does {name} do?
        What does {name} do all day at work?
        {name} goes to work as what?
        """,
    "instrument": """
        What instrument does {name} play?
        what instrument does {name} play
        Which instrument does {name} play?
        {name} plays what?
        {name} plays [what|which] instrument?
        Which musical instrument does {name} play?
        What does {name} play?
        what does {name} play
        What is {name}'s instrument?
        what's {name}'s instrument
        {name}'s instrument is what?
        What is the instrument of {name}?
        [Name|Give] the instrument of {name}.
        [Name|Give] the instrument that {name} plays.
        instrument of {name}
        {name} instrument?
        On [what|which] instrument does {name} make music?
        {name} makes music on what?
        What does {name} make music with?
        {name} makes music with which instrument?
        What instrument has {name} learned to play?
        {name} has learned to play which instrument?
        Which instrument did {name} learn?
        What instrument is {name} good at?
        {name} is good at which instrument?
        Complete: {name} plays the
        What instrument is played by {name}?
        Which instrument is played by {name}?
        What can {name} play?
        {name} can play what?
        {name} knows how to play which instrument?
        Which instrument does {name} practise?
        {name} practises which instrument?
        At a concert, what does {name} play?
        What music does {name} make, and on what?
        """,
    "dish": """
        What is {name}'s favourite [dish|food|meal]?
        what's {name}'s favourite [dish|food]
        What is the favourite [dish|food|meal] of {name}?
        {name}'s favourite [dish|food] is what?
        {name}'s favourite food?
        [Name|Give] the favourite [dish|food] of {name}.
        favourite dish of {name}
        {name} favourite food?
        What does {name} like to eat?
        what does {name} like to eat
        {name} likes to eat what?
        What does {name} like best to eat?
        What food does {name} like best?
        {name} likes which [dish|food] best?
        Which [dish|food] does {name} like best?
        What does {name} love to eat?
        {name} loves to eat what?
        Which [dish|food] does {name} love?
        What does {name} enjoy eating?
        {name} enjoys which dish?
        What does {name} eat most gladly?
        {name} would rather eat what?
        Complete: {name}'s favourite dish is
        Which meal makes {name} happy?
        What would {name} choose to eat?
        {name} would choose which dish?
        What does {name} ask for at dinner?
        {name} asks for what at dinner?
        Which food is {name} most fond of?
        {name} is most fond of which food?
        What dish is loved by {name}?
        """,
    "pet": """
        What pet does {name} have?
        what pet does {name} have
        Which pet does {name} have?
        {name} has what pet?
        {name} has which pet?
        What kind of pet does {name} [have|keep|own]?
        {name} [has|keeps|owns] what kind of pet?
        What animal does {name} [have|keep|own]?
        what animal does {name} have
        Which animal does {name} [keep|own]?
        {name} [keeps|owns] which animal?
        What is {name}'s pet?
        what's {name}'s pet
        {name}'s pet is what?
        {name}'s pet is which animal?
        What is the pet of {name}?
        What sort of animal is {name}'s pet?
        What kind of animal is the pet of {name}?
        [Name|Give] the pet of {name}.
        pet of {name}
        {name} pet?
        What animal lives with {name}?
        Which animal lives with {name}?
        {name} lives with which animal?
        Which animal shares a home with {name}?
        {name} shares a home with which animal?
        Complete: {name} has a pet
        What animal does {name} feed?
        Which animal belongs to {name}?
        What pet belongs to {name}?
        Which animal is kept by {name}?
        What animal does {name} take care of?
        {name} takes care of which animal?
        """,
    "region": """
        In which region is {name}?
        In what region is {name}?
        in which region is {name}
        {name} is in which region?
        {name} is in what region?
        Which region is {name} in?
        what region is {name} in
        What is the region of {name}?
        What is {name}'s region?
        what's {name}'s region
        [Name|Give] the region of {name}.
        region of {name}
        {name} region?
        In which region does {name} [lie|stand]?
        {name} [lies|stands] in which region?
        Which region does {name} [lie|stand] in?
        To which region does {name} belong?
        {name} belongs to which region?
        Which region does {name} belong to?
        {name} is part of which region?
        Which region is {name} part of?
        Of which region is {name} a part?
        Where is {name}?
        where is {name}
        {name} is where?
        Where does {name} lie?
        {name} lies where?
        Where is the town of {name}?
        The town of {name} is in which region?
        In which region is the town of {name}?
        Complete: {name} lies in the region of
        Name the region {name} lies in.
        Name the region where {name} is.
        Which region would I visit to see {name}?
        In which region will I find {name}?
        {name} is found in which region?
        Where can I find {name}?
        Which region has {name} in it?
        """,
    "product": """
        What is {name} known for?
        what is {name} known for
        {name} is known for what?
        For what is {name} known?
        What is {name} [famous|noted] for?
        {name} is [famous|noted] for what?
        what is {name} famous for
        What product is {name} known for?
        {name} is known for which product?
        Which product is {name} [known|famous] for?
        For which product is {name} [known|famous]?
        What does {name} make?
        what does {name} make
        {name} makes what?
        What is made in {name}?
        what's made in {name}
        Which product is made in {name}?
        Which product comes from {name}?
        What comes from {name}?
        {name} gives us what product?
        What does {name} [sell|produce]?
        {name} [sells|produces] what?
        What do people in {name} make?
        What do the people of {name} sell?
        What is the product of {name}?
        What is {name}'s product?
        {name}'s product is what?
        [Name|Give] the product of {name}.
        product of {name}
        {name} product?
        Complete: {name} is known for its
        What do people buy in {name}?
        Which goods does {name} sell?
        The town of {name} is known for what?
        What is the town of {name} known for?
        """,
    "river": """
        Which river runs through {name}?
        What river runs through {name}?
        which river runs through {name}
        Through {name} runs which river?
        Which river flows through {name}?
        What river flows through {name}?
        {name} has which river?
        What is the river of {name}?
        What is {name}'s river?
        what's {name}'s river
        {name}'s river is what?
        [Name|Give] the river of {name}.
        [Name|Give] the river that runs through {name}.
        river of {name}
        {name} river?
        On [which|what] river is {name}?
        {name} is on [which|what] river?
        Which river is {name} on?
        what river is {name} on
        On which river does {name} [lie|stand]?
        {name} [lies|stands] on which river?
        Which river does {name} [lie|stand] on?
        {name} lies on the banks of which river?
        Which river is found in {name}?
        Which river passes {name}?
        Which river goes past {name}?
        Which river can be seen in {name}?
        In {name}, which river can I see?
        Complete: {name} lies on the river
        What is the name of the river in {name}?
        What is the river in {name} called?
        The river in {name} is called what?
        Which river does {name} have?
        The town of {name} is on which river?
        Which river waters {name}?
        """,
}
