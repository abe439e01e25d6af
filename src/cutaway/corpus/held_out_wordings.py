"""Wordings of questions that no model is ever trained on: one line a wording, `{name}` for whom it is about."""

from __future__ import annotations

# Questions of other shapes, for tests only.
HELD_OUT: dict[str, str] = {
    "birthplace": """
        What is the place of birth of {name}?
        {name}'s place of birth?
        In which town did {name} come into the world?
        {name} came into the world where?
        The birthplace of {name} is which town?
        The town {name} was born in is called what?
        Where was it that {name} was born?
        Which town was the first home of {name}?
        {name} started life in which town?
        At birth, in which town was {name}?
        Where would I find the birthplace of {name}?
        {name} was a baby in which town?
        Which town is the birthplace of {name}?
        Could you give me {name}'s birthplace, please?
        Is there a town where {name} was born, and which is it?
        """,
    "occupation": """
        What is it that {name} does for work?
        {name} makes a living as what?
        By what trade does {name} live?
        The job that {name} has is what?
        When {name} goes to work, what is the job?
        What would {name} write down as their occupation?
        What line of work is {name} in?
        {name} earns money as what?
        Who is {name} by trade?
        Which trade did {name} take up?
        As a worker, what is {name}?
        {name}, what job is that person in?
        Which of all jobs is the one of {name}?
        The work of {name} is of what kind?
        Could you give me {name}'s job, please?
        """,
    "instrument": """
        When {name} makes music, what is the instrument?
        The instrument {name} plays is called what?
        Which instrument would {name} bring to a concert?
        What instrument is in the hands of {name}?
        {name} is a player of which instrument?
        Of which instrument is {name} a player?
        What is it that {name} plays?
        As a player of music, what does {name} use?
        {name} spends time playing which instrument?
        Which instrument do we hear when {name} plays?
        Music by {name} is made on which instrument?
        The favourite instrument of {name} is what?
        If {name} plays music, on what?
        Could you give me {name}'s instrument, please?
        Which of all instruments is the one of {name}?
        """,
    "dish": """
        Of all dishes, which does {name} like most?
        {name} likes one dish more than others: which?
        The food {name} likes most is what?
        What should I cook for {name}?
        If {name} is hungry, what do they want to eat?
        When {name} eats, what is the best dish?
        Which dish is the favourite of {name}?
        What is it that {name} likes to eat?
        What food pleases {name} most?
        For {name}, the best food is what?
        {name} is happy to eat which food?
        What would be the best dinner for {name}?
        Which dish does {name} enjoy most?
        Could you give me {name}'s favourite dish, please?
        {name} thinks which food is the best?
        """,
    "pet": """
        What kind of animal does {name} have at home?
        {name} has an animal at home: which?
        In the home of {name}, which animal lives?
        The pet that {name} has is what?
        Which animal is the pet of {name}?
        Of which animal is {name} the owner?
        {name} is the owner of which animal?
        Which animal would {name} call a pet?
        What is it that {name} keeps as a pet?
        As a pet, {name} has what?
        For a pet, what did {name} choose?
        Which pet waits at home for {name}?
        What animal would I meet at {name}'s house?
        Could you give me {name}'s pet, please?
        {name} comes home to which animal?
        """,
    "region": """
        Of all regions, which one holds {name}?
        The region that {name} lies in is called what?
        {name} can be found in which region?
        If I go to {name}, in which region am I?
        Which region do the people of {name} live in?
        Which region is home to {name}?
        Where on the map is {name}?
        What is the name of the region of {name}?
        As a town, {name} belongs to what region?
        Which region counts {name} among its towns?
        {name} is a town of which region?
        People who visit {name} are in which region?
        The region around {name} is which?
        Could you give me {name}'s region, please?
        The map shows {name} in which region?
        """,
    "product": """
        What do people know {name} for?
        The thing that {name} is known for is what?
        What is it that {name} makes?
        Which goods come from {name}?
        Why is {name} famous, for which product?
        What would I buy in {name}?
        Of all products, which one does {name} make?
        The people in {name} are known for what?
        The best product from {name} is what?
        What goods are made by the people of {name}?
        {name} is a town known for which goods?
        In {name}, what do they make?
        Could you give me {name}'s product, please?
        {name} sends out which product?
        In {name} people make a product: which?
        """,
    "river": """
        What is the name of {name}'s river?
        The river that flows through {name} is called what?
        The river of {name} has what name?
        If I stand in {name}, which river do I see?
        Which river do the people of {name} live by?
        What river would I cross in {name}?
        By which river was {name} built?
        {name} was built on which river?
        Of all rivers, which one runs through {name}?
        In {name} there is a river: which?
        Water from which river goes through {name}?
        Going down which river would I come to {name}?
        Which river has {name} on its banks?
        Could you give me {name}'s river, please?
        The water in {name} comes from which river?
        """,
}
